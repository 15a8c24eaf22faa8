"""Your own data: template, report, layouts of other tools in and out."""
