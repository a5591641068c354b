"""What the pages look like: thin views of the states."""
