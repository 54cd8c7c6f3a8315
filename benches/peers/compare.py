#!/usr/bin/env python3
"""Measures `fusion run` against mergekit and against plain copying of the same bytes, on the same warm files.

    cargo build --release -p fusion -p fusion-benches
    target/release/make_llama --out /tmp/llama         # four checkpoints of 1.1 G parameters, 8.8 GB
    benches/peers/setup.sh /tmp/peers                  # mergekit's Python environment, 6 GB
    benches/peers/compare.py                           # tables to stdout, everything to compare.json

For each method the tools run in turn, round after round, so that a slow minute of the machine hits all of them; the
best round counts. Before every run the previous output is removed, what is still to be written to the disk is flushed,
the inputs are read once (so that they lie in the page cache), and a scratch file as large as the output is written and
removed: on a virtual machine pages that the host has taken back cost seconds at their next first use (copying 2.2 GB:
0.8 s, or 5 s), and no tool shall pay that for another.

Wall time is of the whole command, start of the interpreter included. CPU time and the largest resident set (mapped
files included) come from wait4; own memory is the largest sum of RssAnon and RssShmem over the process tree, polled
every 50 ms: what the command itself allocated, without the page cache. Outputs are compared by agree.py.
Needs Linux and nothing but Python's standard library.
"""

import argparse
import json
import os
import pathlib
import platform
import shlex
import shutil
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
# Folders as the recipes beside this file name them.
ROOT_IN_RECIPES, WORK_IN_RECIPES = "/tmp/llama", "/tmp/fusion-peers"
# Models that each method reads; the first is the one whose size the copy writes.
METHODS = {
    "linear": ["chat", "code", "math"],
    "slerp": ["base", "chat"],
    "ties": ["base", "chat", "code", "math"],
}
TOOLS = ["copy", "copy-fsync", "fusion", "mergekit"]
POLL_SECONDS = 0.05


def main():
    arguments = parse_arguments()
    for method in arguments.methods:
        for model in METHODS[method]:
            if not (arguments.root / model).is_dir():
                sys.exit(f"compare.py: `{arguments.root / model}` is missing; make_llama makes it")
    arguments.work.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine(), "tools": versions(arguments), "root": str(arguments.root), "methods": {}}
    for method in arguments.methods:
        report["methods"][method] = measure(method, arguments)
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    print(table(report))
    failed = [
        f"{method} {tool}" for method, result in report["methods"].items() for tool in result["failures"]
    ]
    if failed:
        sys.exit("compare.py: failed: " + ", ".join(failed))


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = lambda known: lambda text: choose(text, known)
    release = REPOSITORY / "target" / "release"
    parser.add_argument("--tools", type=names(TOOLS), default=TOOLS, help="of " + ",".join(TOOLS))
    parser.add_argument("--methods", type=names(METHODS), default=list(METHODS), help="of " + ",".join(METHODS))
    parser.add_argument("--repeat", type=int, default=5, help="rounds; the best counts (5)")
    parser.add_argument("--mergekit-repeat", type=int, help="rounds for mergekit, where fewer shall do")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(ROOT_IN_RECIPES), help="folder of the models")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path(WORK_IN_RECIPES), help="folder for outputs")
    parser.add_argument("--json", type=pathlib.Path, default=pathlib.Path("compare.json"), help="file for the figures")
    parser.add_argument("--venv", type=pathlib.Path, default=pathlib.Path("/tmp/peers"), help="what setup.sh made")
    parser.add_argument("--fusion", type=pathlib.Path, default=release / "fusion", help="the command")
    parser.add_argument("--fusion-args", default="", help="more arguments of `fusion run`, as one text")
    parser.add_argument("--copy", type=pathlib.Path, default=release / "copy_baseline", help="the copy")
    parser.add_argument("--mergekit-args", default="", help="more arguments of mergekit-yaml, as one text")
    parser.add_argument("--threads", type=int, default=2, help="threads of the copy and of torch (2)")
    parser.add_argument("--mergekit-dtype", default="bfloat16",
                        help="`dtype` of mergekit's recipes; float32 makes it round only once, at several times the"
                             " memory, to check the outputs closely on small models")
    parser.add_argument("--keep", action="store_true", help="leave the outputs in the work folder")
    arguments = parser.parse_args()
    if arguments.repeat < 1 or (arguments.mergekit_repeat or 1) < 1:
        parser.error("a tool runs at least once")
    # absolute without following links: the environment's `python` is one
    for name in ("root", "work", "json", "venv", "fusion", "copy"):
        setattr(arguments, name, pathlib.Path(os.path.abspath(getattr(arguments, name))))
    return arguments


def choose(text, known):
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"`{name}` is none of {', '.join(known)}")
    return names


def measure(method, arguments):
    """All rounds of all tools for one method, then the comparison of the outputs."""
    result = {"runs": {tool: [] for tool in arguments.tools}, "failures": {}}
    outputs = {tool: arguments.work / f"{method}-{tool}" for tool in arguments.tools}
    inputs = [arguments.root / model for model in METHODS[method]]
    for round_ in range(arguments.repeat):
        for tool in arguments.tools:
            if tool in result["failures"]:
                continue
            if tool == "mergekit" and round_ >= (arguments.mergekit_repeat or arguments.repeat):
                continue
            shutil.rmtree(outputs[tool], ignore_errors=True)
            # commands run in the work folder, where their recipes lie, so a cache of stages would be here
            shutil.rmtree(arguments.work / ".fusion-cache", ignore_errors=True)
            command = command_of(tool, method, outputs[tool], arguments)
            os.sync()
            warm(inputs)
            touch_free_memory(inputs[0], arguments.work / "scratch")
            run = timed(command, arguments.work / f"{method}-{tool}.log", arguments)
            name = f"{method} {tool} {round_ + 1}/{arguments.repeat}"
            failure = None
            if run["status"] != 0:
                failure = f"exit status {run['status']}, see {run['log']}"
            elif not any(outputs[tool].glob("*.safetensors")):
                failure = f"no weights in {outputs[tool]}, see {run['log']}"
            if failure:
                result["failures"][tool] = failure
                print(f"{name}: {result['failures'][tool]}", file=sys.stderr)
                continue
            result["runs"][tool].append(run)
            print(f"{name}: {run['wall']:.2f} s, {run['own_bytes'] / 1e6:.0f} MB", file=sys.stderr, flush=True)
            if tool.startswith("copy"):
                shutil.rmtree(outputs[tool])
    result["best"] = {tool: min(runs, key=lambda run: run["wall"]) for tool, runs in result["runs"].items() if runs}
    if {"fusion", "mergekit"} <= set(result["best"]):
        result["agreement"] = agreement(outputs["fusion"], outputs["mergekit"], inputs[0], arguments)
    if not arguments.keep:
        for output in outputs.values():
            shutil.rmtree(output, ignore_errors=True)
    return result


def command_of(tool, method, output, arguments):
    if tool.startswith("copy"):
        inputs = [str(arguments.root / model) for model in METHODS[method]]
        fsync = ["--fsync"] if tool == "copy-fsync" else []
        return [str(arguments.copy), *inputs, "--out", str(output), "--threads", str(arguments.threads), *fsync]
    if tool == "fusion":
        text = (HERE / f"{method}.fusion").read_text()
        text = text.replace(f'"{WORK_IN_RECIPES}/{method}"', f'"{output}"')
        recipe = arguments.work / f"{method}.fusion"
        recipe.write_text(text.replace(f'"{ROOT_IN_RECIPES}/', f'"{arguments.root}/'))
        return [str(arguments.fusion), "run", str(recipe), *shlex.split(arguments.fusion_args)]
    text = (HERE / f"{method}.yml").read_text().replace(f" {ROOT_IN_RECIPES}/", f" {arguments.root}/")
    if arguments.mergekit_dtype != "bfloat16":
        text = text.replace("dtype: bfloat16", f"dtype: {arguments.mergekit_dtype}\nout_dtype: bfloat16")
    recipe = arguments.work / f"{method}.yml"
    recipe.write_text(text)
    more = shlex.split(arguments.mergekit_args)
    return [str(arguments.venv / "bin" / "mergekit-yaml"), str(recipe), str(output), *more]


def warm(folders):
    """Reads all weights once."""
    buffer = bytearray(1 << 22)
    for folder in folders:
        for path in sorted(folder.glob("*.safetensors")):
            with open(path, "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def touch_free_memory(model, scratch):
    """Writes as much into the page cache as `model` has weights, and gives the pages back to the system."""
    zeros = bytes(1 << 22)
    with open(scratch, "wb", buffering=0) as file:
        for _ in range(sum(path.stat().st_size for path in model.glob("*.safetensors")) // len(zeros)):
            file.write(zeros)
    scratch.unlink()


def timed(command, log, arguments):
    """Runs a command to its end; its wall time, CPU time and peak memory."""
    environment = dict(os.environ, HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", PYTHONHASHSEED="0",
                       OMP_NUM_THREADS=str(arguments.threads), TOKENIZERS_PARALLELISM="false")
    with open(log, "wb") as output:
        start = time.perf_counter()
        try:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment,
                                       cwd=arguments.work)
        except OSError as error:
            sys.exit(f"compare.py: cannot start `{command[0]}`: {error.strerror}")
        peak = [0]
        done = threading.Event()
        poller = threading.Thread(target=poll, args=(process.pid, peak, done))
        poller.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    # wait4 has reaped the process; Popen must not wait for it again
    process.returncode = os.waitstatus_to_exitcode(status)
    done.set()
    poller.join()
    return {
        "status": process.returncode,
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "user": usage.ru_utime,
        "system": usage.ru_stime,
        "own_bytes": peak[0],
        "max_rss_bytes": usage.ru_maxrss * 1024,
        "command": shlex.join(command),
        "log": str(log),
    }


def poll(pid, peak, done):
    while not done.is_set():
        peak[0] = max(peak[0], sum(own_memory(process) for process in tree(pid)))
        done.wait(POLL_SECONDS)


def tree(pid):
    """A process and all its descendants."""
    found, queue = [], [pid]
    while queue:
        process = queue.pop()
        found.append(process)
        try:
            for task in os.listdir(f"/proc/{process}/task"):
                with open(f"/proc/{process}/task/{task}/children") as file:
                    queue.extend(int(child) for child in file.read().split())
        except OSError:
            continue
    return found


def own_memory(pid):
    """Anonymous and shared memory in bytes. From `status`, not `smaps_rollup`: the latter walks all page tables."""
    total = 0
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith(("RssAnon:", "RssShmem:")):
                    total += int(line.split()[1]) * 1024
    except OSError:
        pass
    return total


def agreement(ours, theirs, base, arguments):
    python = arguments.venv / "bin" / "python"
    command = [str(python), str(HERE / "agree.py"), str(ours), str(theirs)]
    # a change from a base is the measure where there is a base; for the plain mean, from its first input
    command += ["--base", str(base)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        return {"error": run.stderr.strip()}
    return json.loads(run.stdout)


def machine():
    memory = next(line for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": int(memory.split()[1]) * 1024,
        "system": platform.platform(),
        "load_before": os.getloadavg()[0],
    }


def versions(arguments):
    """What is measured, by its own word; fails early where a tool is missing."""
    found = {}
    for tool in arguments.tools:
        if tool == "mergekit":
            code = ("import importlib.metadata as m; print('mergekit', m.version('mergekit'), 'torch',"
                    " m.version('torch'), 'safetensors', m.version('safetensors'))")
            command = [str(arguments.venv / "bin" / "python"), "-c", code]
        else:
            command = [str(arguments.fusion if tool == "fusion" else arguments.copy), "--version"]
        try:
            run = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"compare.py: `{tool}` cannot be run: {error}")
        found[tool] = run.stdout.strip()
    return found


def table(report):
    """The best rounds in Markdown, with ratios to the copy and to fusion."""
    where = report["machine"]
    lines = [
        f"{where['cpu']}, {where['cores']} cores, {where['memory_bytes'] / 2**30:.0f} GiB; load before the first run"
        f" {where['load_before']:.2f}. " + "; ".join(dict.fromkeys(report["tools"].values())) + ".",
        "",
        "| method | tool | wall s | CPU s | own peak MB | largest RSS MB | wall / copy | wall / fusion | own / fusion |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for method, result in report["methods"].items():
        best = result["best"]
        ratio = lambda run, tool, key: f"{run[key] / best[tool][key]:.2f}" if best.get(tool, {}).get(key) else "-"
        for tool, run in best.items():
            lines.append(
                f"| {method} | {tool} | {run['wall']:.2f} | {run['cpu']:.2f} | {run['own_bytes'] / 1e6:.0f} |"
                f" {run['max_rss_bytes'] / 1e6:.0f} | {ratio(run, 'copy', 'wall')} |"
                f" {ratio(run, 'fusion', 'wall')} | {ratio(run, 'fusion', 'own_bytes')} |"
            )
    agreements = {m: r["agreement"] for m, r in report["methods"].items() if "agreement" in r}
    if agreements:
        lines += [
            "",
            "| method | elements | differing | max abs diff | rms diff | relative error of the change |",
            "|---|--:|--:|--:|--:|--:|",
        ]
    for method, a in agreements.items():
        if "error" in a:
            lines.append(f"| {method} | {a['error']} | | | | |")
            continue
        relative = a["relative_error_of_change"]
        lines.append(
            f"| {method} | {a['elements']} | {a['share_differing']:.3%} | {a['max_abs_diff']:.3g} |"
            f" {a['rms_diff']:.3g} | {'-' if relative is None else format(relative, '.3%')} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
