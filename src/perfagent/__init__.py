"""The performance agent: reads an inference server's metrics, names its bottleneck, proposes flags, rolls them out.

The folders are in the order in which a piece of data travels:
scrape → snapshot → window → finding → proposal → rollout → verdict.
"""

from importlib.metadata import version

__version__ = version("performance-agent")
