import os
import sys

# The helper modules of this folder are imported by name.
sys.path.insert(0, os.path.dirname(__file__))
