"""What a ticket costs: parameters, MACs, tables and plots."""

from .complexity import LayerMacs, Macs, count_macs, count_params

__all__ = ['LayerMacs', 'Macs', 'count_macs', 'count_params']
