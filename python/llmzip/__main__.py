"""The program: ``llmzip``, ``python -m llmzip``, ``uvx llmzip``."""

import sys

from llmzip import _llmzip


def main() -> int:
    """Run the program on the arguments of this process and return its exit code."""
    return _llmzip.main(["llmzip", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
