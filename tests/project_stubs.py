"""Stand-ins for what a platform's own tools bring, so that a project's example runs on this computer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from thimble.errors import UserError
from thimble.exporting.c import source as c_file

try:
    COMPILER = c_file.compiler()
except UserError:
    COMPILER = []
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-O2"]
_TIME = """
#include <time.h>
static unsigned long microseconds_here(void) { return (unsigned long)((double)clock() * 1e6 / CLOCKS_PER_SEC); }
"""
_STUBS: dict[str, dict[str, str]] = {
    "cmake": {},
    "esp-idf": {
        "esp_timer.h": f"#include <stdint.h>\n{_TIME}"
        "static inline int64_t esp_timer_get_time(void) { return (int64_t)microseconds_here(); }\n",
        "start.c": "void app_main(void);\nint main(void) { app_main(); return 0; }\n",
    },
    "zephyr": {
        "zephyr/kernel.h": f"#include <stdint.h>\n{_TIME}"
        "static inline uint32_t k_cycle_get_32(void) { return (uint32_t)microseconds_here(); }\n"
        "static inline uint32_t k_cyc_to_us_floor32(uint32_t cycles) { return cycles; }\n",
        "zephyr/sys/printk.h": "#include <stdio.h>\n#define printk printf\n",
    },
    "arduino": {
        "Arduino.h": f"""
#include <stdio.h>
{_TIME}
static inline unsigned long micros() {{ return microseconds_here(); }}
static inline unsigned long millis() {{ return micros() / 1000; }}
static inline void delay(unsigned long) {{}}
struct Port {{
    void begin(unsigned long) {{}}
    operator bool() const {{ return true; }}
    void print(const char *text) {{ printf("%s", text); }}
    void print(int number) {{ printf("%d", number); }}
    void print(unsigned long number) {{ printf("%lu", number); }}
    void println(const char *text) {{ printf("%s\\n", text); }}
}};
static Port Serial;
""",
        "start.cpp": '#include "Arduino.h"\n#include "Classify.ino"\nint main() { setup(); loop(); return 0; }\n',
    },
}


def run_example(folder: Path, platform: str, stubs: Path) -> subprocess.CompletedProcess[str]:
    """Compile a project's sources and its example, strictly, and run it."""
    stubs.mkdir()
    for name, text in _STUBS[platform].items():
        (stubs / name).parent.mkdir(parents=True, exist_ok=True)
        (stubs / name).write_text(text)
    objects: list[str] = []
    ino = folder / "examples" / "Classify"
    includes = [f"-I{one}" for one in (stubs, ino, *{path.parent for path in folder.rglob("*.h")})]
    for path in sorted([*folder.rglob("*.c"), *stubs.glob("start.*")]):
        if "CMakeFiles" in path.parts:
            continue
        target = stubs / f"{len(objects)}.o"
        command = [*COMPILER, *STRICT] if path.suffix == ".c" else [_cpp(), "-std=c++11", "-Wall", "-Wextra", "-Werror"]
        subprocess.run([*command, *includes, "-Wno-unused-function", "-c", str(path), "-o", str(target)], check=True)
        objects.append(str(target))
    linker = _cpp() if platform == "arduino" else COMPILER[0]
    subprocess.run([linker, *objects, "-o", str(stubs / "program")], check=True)
    return subprocess.run([stubs / "program"], capture_output=True, text=True, encoding="utf-8")


def _cpp() -> str:
    found = shutil.which("g++") or shutil.which("c++")
    assert found is not None
    return found
