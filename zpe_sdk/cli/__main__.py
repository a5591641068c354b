"""``python -m zpe_sdk.cli``: the command ``zpe`` where its script is not on PATH."""

from zpe_sdk.cli import main

if __name__ == "__main__":  # the processes that plan load it too
    main()
