"""The helpers of the course, one room for each stage of the schema."""
