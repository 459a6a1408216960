# p, the share of the prunable weights that goes: 0.9, or what the environment says.
ratio = {{'$ST_MM_RATIO:0.9'}}
