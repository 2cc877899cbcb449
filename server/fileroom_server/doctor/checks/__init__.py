"""What is looked for in answers: small functions, each of one thing, that say what breaks and what to do."""
