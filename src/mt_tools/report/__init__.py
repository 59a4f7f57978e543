"""What people read: tables and bars on a terminal, figures and reports."""
