"""How a replaced function of mmengine is known."""

PATCHED = '_patched_by_st_mm'  # attribute of a function that replaces one of mmengine's
