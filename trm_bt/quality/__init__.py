"""The rules that bars are held to, and what they find."""
