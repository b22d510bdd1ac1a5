"""Example applications that run as they are; each uses only glidemq's public names."""
