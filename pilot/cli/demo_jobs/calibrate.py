"""A payload that fails: it wants a constant that its input does not have, says so, and ends with exit code 3.

usage: calibrate.py CONSTANTS.json
"""

import json
import sys


def main(constants_file: str) -> int:
    """Look for the constant; 3 if it is not there."""
    with open(constants_file) as file:
        constants = json.load(file)
    if "muon_scale" not in constants:
        print(f"calibrate: no constant 'muon_scale' in {constants_file}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
