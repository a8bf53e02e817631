"""A small project as somebody else would write it; nothing in it but configs/ and callbacks.py knows of lipreg."""
