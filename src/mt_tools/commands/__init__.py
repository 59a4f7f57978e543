"""One module a command: options -> stage -> exit code. No mathematics."""
