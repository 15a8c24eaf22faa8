# make course   set up, run every notebook, write build/index.html      make test    set up, run all tests
# make quick    lint and the unit tests, without notebooks and browsers (JOBS=2 processes; make test takes it, too)
# make env      the environment alone (.venv; LOCKED=1: versions of records)  make lab     JupyterLab in the course
# make record   rewrite tests/records (FAST and full)                   make live    check the room, then the lecture
# make slides   the decks: build/slides/<part>.html, .pdf and _notes.pdf (ONLY=1.3)     make quiz     build/quiz/<part>.html
# make site     build/site: all pages for the web (links checked)          make handouts cheat sheet, glossary, reading list
# make standalone   every notebook alone, as in Colab, then without network (about 15 minutes)
# make processors   the tests as on an old processor and as on this one, one and two threads (no notebooks)
# PYTHON=python3.12   FAST=1   ONLY=03   DATASET=name-or-folder   FORCE=1   pass through
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
export PYTHONUTF8 := 1
JOBS ?= 2
PYTEST = $(BIN)/python -m pytest -n $(JOBS) --dist worksteal --durations 20

.PHONY: course test quick processors env lab live slides quiz handouts site standalone record clean
course: env
	@$(BIN)/python -m utils.press run $(if $(FAST),--fast) $(if $(FORCE),--force) $(if $(ONLY),--only "$(ONLY)") $(if $(DATASET),--dataset "$(DATASET)")

test: env
	@$(PYTEST) $(ARGS)

quick: env
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(PYTEST) -m "not notebook and not browser and not slow" $(ARGS)

processors: env
	@$(BIN)/python tests/processors.py $(if $(ONLY),--notebooks "$(ONLY)") $(ARGS)

env:
	@"$(PYTHON)" -m utils.environment $(if $(LOCKED),--locked)

lab: env
	@$(BIN)/python -m jupyterlab notebooks

live: env
	@$(BIN)/python -m utils.press live $(ARGS)

slides: env
	@$(BIN)/python -m utils.press decks $(if $(ONLY),--only "$(ONLY)") $(ARGS)

quiz: env
	@$(BIN)/python -m utils.press quiz build

handouts: env
	@$(BIN)/python -m utils.press handouts $(ARGS)

site: env
	@$(BIN)/python -m utils.press site $(ARGS)

standalone: env
	@$(BIN)/python tests/standalone.py $(if $(ONLY),--only "$(ONLY)") $(ARGS)

record: env
	@$(BIN)/python -m utils.press run --record $(if $(ONLY),--only "$(ONLY)")

clean:
	@"$(PYTHON)" -c "import shutil; shutil.rmtree('build', ignore_errors=True); shutil.rmtree('data/cache', ignore_errors=True)"
