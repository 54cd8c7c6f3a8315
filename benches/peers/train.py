#!/usr/bin/env python3
"""Sets the training loop of fusion beside PyTorch's: runs both in turn and prints images a second and ratios.

    cargo build --release -p fusion-benches
    benches/peers/setup.sh /tmp/peers
    benches/peers/train.py                              # a table to stdout; every round to train.json

A round measures each case with both tools, minute by minute, so that a slow minute of the machine hits both; the median
of the rounds counts. Columns: one network on one thread, one network on two threads (fusion cuts a batch into two
shards, which networks with BatchNorm do not allow), two networks side by side with a thread each (PyTorch: two processes).
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
CASES = ["mlp-128", "mlp-500", "cnn-128", "resnet20-128"]
# networks, threads, shards of a batch
SPREADS = [(1, 1, 1), (1, 2, 2), (2, 1, 1)]


def run(command):
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        sys.exit(f"train.py: `{' '.join(command)}` failed:\n{found.stderr}")
    return [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    release = HERE.parent.parent / "target" / "release"
    parser.add_argument("--case", action="append", choices=CASES, help="which cases (all)")
    parser.add_argument("--train-rate", type=pathlib.Path, default=release / "train_rate", help="the program")
    parser.add_argument("--python", default="/tmp/peers/bin/python", help="a Python that has torch")
    parser.add_argument("--seconds", default="2", help="about how long a measurement takes (2)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the median counts (3)")
    parser.add_argument("--json", type=pathlib.Path, default=pathlib.Path("train.json"), help="file for the figures")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("a tool runs at least once")
    once = ["--rounds", "1", "--seconds", arguments.seconds]
    lines = []
    for case in arguments.case or CASES:
        for round_ in range(arguments.rounds):
            for networks, threads, shards in SPREADS:
                spread = f"{networks}/{threads}/{shards}"
                ours = [str(arguments.train_rate), "--json", "--case", case, "--spread", spread, *once]
                theirs = [arguments.python, str(HERE / "train_pytorch.py"), "--case", case]
                theirs += ["--networks", str(networks), "--threads", str(threads), *once]
                for line in run(ours) + run(theirs):
                    line |= {"round": round_, "load": os.getloadavg()[0], "spread": spread}
                    lines.append(line)
                    arguments.json.write_text(json.dumps(lines, indent=1) + "\n")
                    print(f"{case} {spread} {line['loop']}: {line['images_per_second']:.0f}/s", file=sys.stderr)
    print("| case | networks x threads | fusion images/s | PyTorch images/s | fusion / PyTorch | the same in CPU time |")
    print("|---|---|--:|--:|--:|--:|")
    for case in arguments.case or CASES:
        for networks, threads, shards in SPREADS:
            spread = f"{networks}/{threads}/{shards}"
            median = lambda loop, key: statistics.median(
                line[key] for line in lines if (line["case"], line["spread"], line["loop"]) == (case, spread, loop)
            )
            rates = [median(loop, "images_per_second") for loop in ("train", "pytorch")]
            costs = [median(loop, "cpu_us_per_image") for loop in ("train", "pytorch")]
            print(
                f"| {case} | {networks} x {threads} | {rates[0]:.0f} | {rates[1]:.0f} |"
                f" {rates[0] / rates[1]:.2f} | {costs[1] / costs[0]:.2f} |"
            )


if __name__ == "__main__":
    main()
