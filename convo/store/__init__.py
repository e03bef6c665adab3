"""The database: its tables and migrations, every SQL statement, and where transactions begin and end."""
