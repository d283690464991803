"""Mail over SMTP: its settings, its form, and the connections that it is sent over."""
