"""The plugin's half of twistd: options and the service they make."""
