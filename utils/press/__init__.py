"""The press: everything that is printed from the course (pages, decks, quizzes, handouts, live path)."""
