"""The built-in engines, one file each; found by importing the modules of this folder."""
