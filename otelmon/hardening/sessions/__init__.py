"""Sessions of the application's users: a middleware, and what stock frameworks need to use it."""
