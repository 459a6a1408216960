"""What a network costs: parameters, MACs and time."""

from .complexity import LayerMacs, Macs, count_macs, count_params
from .tracing import eval_mode, run_on_shapes

__all__ = ['LayerMacs', 'Macs', 'count_macs', 'count_params', 'eval_mode', 'run_on_shapes']
