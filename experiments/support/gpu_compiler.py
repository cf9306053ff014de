"""XLA's GPU compiler on a machine without a GPU.

XLA compiles for a device from its description alone. The optimised program is the one
that the device would run, up to the tilings of matrix products, which it would choose
by timing them. Three packages are needed, without their dependencies: jax-cuda12-plugin
and jax-cuda12-pjrt of jax's own version, and nvidia-cuda-nvcc-cu12; see `.ci/kernels`.
"""

import functools
import glob
import os
import sys
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies

# NVIDIA's data sheet of an H100 SXM, in the text form of XLA's GpuTargetConfig. With an
# older driver, XLA would leave the refresh of target parameters out of CUDA graphs.
H100 = """
gpu_device_info {
  name: "NVIDIA H100 80GB HBM3" device_vendor: "NVIDIA Corporation"
  platform_version: "Compute Capability 9.0a"
  cuda_compute_capability { major: 9 minor: 0 feature_extension: ACCELERATED_FEATURES }
  driver_version: "13.0.0" runtime_version: "12.9.0" dnn_version: "9.10.2"
  compile_time_toolkit_version: "12.9.0"
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  shared_memory_per_core: 233472 shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  memory_bandwidth: 3352320000000 device_memory_size: 84942979072
  l2_cache_size: 52428800 pcie_bandwidth: 34359738368
  device_address_bits: 64 ecc_enabled: true
}
platform_name: "CUDA"
device_description_str: "NVIDIA H100 80GB HBM3"
dnn_version_info { major: 9 minor: 10 patch: 2 }
"""


@functools.cache
def device() -> Any:
    """The H100, as the place of arrays."""
    assemblers = glob.glob(f"{sys.prefix}/lib/python*/site-packages/nvidia/*/bin/ptxas")
    folders = [os.path.dirname(path) for path in assemblers]
    os.environ["PATH"] = os.pathsep.join([*folders, os.environ["PATH"]])
    topology = topologies.get_topology_desc(
        platform="cuda", topology_name="h100", target_config=H100, topology="1x1x1"
    )
    return jax.sharding.SingleDeviceSharding(topology.devices[0])


def on_device(tree: Any) -> Any:
    """The shapes of arrays, or of their shapes, on the H100."""

    def place(leaf: Any) -> jax.ShapeDtypeStruct:
        if not hasattr(leaf, "dtype"):
            leaf = np.float32(leaf) if isinstance(leaf, float) else np.asarray(leaf)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device())

    return jax.tree.map(place, tree)


def optimized_hlo(jitted: Any, *arguments: Any, **static: Any) -> str:
    """The optimised program of a jitted function, as text.

    Args:
        jitted: the function.
        arguments: their shapes; see `on_device`.
        static: static arguments, by name.
    """
    traced = jitted.trace(*arguments, **static)
    lowered = traced.lower(lowering_platforms=("cuda",))
    # There is no device on which to time the alternatives.
    compiled = lowered.compile(compiler_options={"xla_gpu_autotune_level": 0})
    return compiled.as_text()
