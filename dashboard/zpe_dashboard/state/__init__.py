"""What the pages show and do, without a browser: a class per page, whose params the views follow."""
