"""What `import st_mm` brings with it: what registers, and none of what only some tools need."""

import subprocess
import sys

# heavy, and needed only where a function of ours uses them
LATER = {
    *('mmseg', 'mmpose', 'mmpretrain', 'mmdet', 'torchvision', 'transformers'),
    *('matplotlib', 'scipy', 'pandas', 'pycocotools', 'xtcocotools', 'jinja2'),
    *('onnx', 'onnxruntime', 'torch.onnx', 'torch._dynamo', 'torch._inductor'),
    *('torch.utils.flop_counter', 'torch.utils.tensorboard', 'tensorboard', 'triton.runtime.jit'),
    *('ray', 'mim', 'pkg_resources', 'setuptools', 'mlflow', 'wandb'),
    *('st_mm.analysis', 'st_mm.deploy'),
}
LIST_MODULES = 'import sys, st_mm; print(*sys.modules, sep="\\n")'
BUILD_NAMES = """
import importlib
from mmengine.registry import HOOKS, MODELS, OPTIMIZERS, WEIGHT_INITIALIZERS
importlib.import_module('st_mm')  # as custom_imports does
for registry, names in (
    (HOOKS, 'SearchHook PruneHook ProgressivePruneHook ReactivateHook FixedMaskHook FreezeHook '
            'InitialCheckpointHook RecalibrateHook'),
    (MODELS, 'HRSupernet AtomicBlock HRFusionNeck HRClassificationNeck RampedEMA TokenMixer'),
    (OPTIMIZERS, 'RMSpropEpsInRoot'),
    (WEIGHT_INITIALIZERS, 'MnasNet Ticket'),
):
    for name in names.split():
        assert registry.get(name) is not None, name
print('all registered')
"""


def run(code: str) -> str:
    command = [sys.executable, '-c', code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_not_needed_is_not_imported() -> None:
    modules = set(run(LIST_MODULES).split())
    assert {'st_mm', 'st_mm.hooks', 'torch', 'mmengine'} <= modules
    assert sorted(modules & LATER) == []


def test_custom_imports_register_everything() -> None:
    assert run(BUILD_NAMES).strip() == 'all registered'
