"""A payload with two inputs and two outputs: joins two tables by their first column and sums up the second.

usage: join.py LEFT.csv RIGHT.csv JOINED.csv SUMMARY.json
"""

import csv
import json
import sys


def main(left: str, right: str, joined: str, summary: str) -> None:
    """Read both, write what they have in common and what they come to."""
    with open(left, newline="") as file:
        values = dict(csv.reader(file))
    rows = 0
    total = 0.0
    with open(right, newline="") as file, open(joined, "w", newline="") as out:
        writer = csv.writer(out)
        for key, value in csv.reader(file):
            if key in values:
                writer.writerow([key, values[key], value])
                rows += 1
                total += float(values[key]) * float(value)
    with open(summary, "w") as file:
        json.dump({"rows": rows, "total": total}, file)
    print(f"{rows} rows in both, total {total:.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
