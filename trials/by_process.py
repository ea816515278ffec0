"""Faults of the machine and of the network whose full form is a set of tests: kernels, the studio, ranks."""

from typing import Final

from trials.fault import by_tests

CACHE: Final = "tests/engines/test_fused_cache.py"
COMPILE: Final = "tests/engines/test_fused_build.py"
COMPILER: Final = "tests/engines/test_fused_toolchain.py"
SECURITY: Final = "tests/studio/test_security.py"
BROWSER: Final = "tests/studio/test_in_a_browser.py"
RANKS: Final = "tests/engines/test_torch_distributed.py"

FAULTS = (
    by_tests(
        9,
        "kernel-cache",
        "kernel cache unwritable, noexec, full, another's, open to all, or a link",
        "a case; a warning and a private folder, and code planted there is not loaded",
        CACHE,
    ),
    by_tests(
        10,
        "no-compiler",
        "no compiler, or one that hangs, fails, is killed, or lies",
        "a case; `auto` takes array and says so, `--engine fused` ends with 5 and what to install",
        COMPILER,
        f"{COMPILE}::test_a_compiler_that_fails_leaves_nothing",
        f"{COMPILE}::test_a_kernel_that_does_not_compile_says_so",
        "tests/cli/test_cli.py::test_without_a_compiler_auto_takes_the_next_engine_and_says_so",
        "tests/cli/test_stops.py::test_a_compiler_that_hangs_ends_with_the_process",
    ),
    by_tests(
        11,
        "cold-cache",
        "50 processes at once find an empty kernel cache",
        "12 and 50 processes; each loads the right kernel, and each kernel is compiled once",
        f"{COMPILE}::test_many_processes_share_a_cold_cache",
        f"{COMPILE}::test_a_stopped_process_does_not_stop_the_others",
    ),
    by_tests(
        13,
        "kernel-key",
        "another processor, compiler, flag, size or source",
        "each part of the key changed; a miss, and the kernel is built anew",
        f"{COMPILE}::test_each_part_of_the_key_counts",
        f"{COMPILE}::test_another_source_size_or_target_is_compiled",
        f"{COMPILE}::test_the_processor_is_known_by_what_it_can_do",
        f"{COMPILE}::test_the_second_time_nothing_is_compiled",
    ),
    by_tests(
        30,
        "studio-requests",
        "wrong Host, Origin or token, 10,000 paths, huge bodies, NaN, a port that is taken",
        "every route and method; 403, 404, 405, 413, a sentence, valid JSON, the next port or exit 5",
        SECURITY,
        "tests/studio/test_routes.py::test_what_a_hostile_folder_says_stays_text_and_numbers",
        "tests/studio/test_server.py::test_a_port_that_is_taken_gives_way_to_the_next_or_is_a_fault",
        "tests/studio/test_server.py::test_it_listens_on_the_loopback_address_alone",
    ),
    by_tests(
        30,
        "studio-markup",
        "HTML in names, samples, prompts and expressions, in a real browser",
        "a page; it stays text, and nothing of it runs",
        f"{BROWSER}::test_markup_in_names_and_samples_is_inert_text",
        "tests/studio/test_looking_in_a_browser.py::test_markup_in_a_prompt_stays_text",
        "tests/studio/test_looking_in_a_browser.py::test_a_text_that_is_no_expression_is_a_sentence_and_runs_nothing",
        "tests/studio/test_scaling_in_a_browser.py",
    ),
    by_tests(
        31,
        "lost-rank",
        "a rank of a distributed training dies, or is stopped",
        "each of two ranks; all end within a minute, and the run goes on as one that was never stopped",
        f"{RANKS}::test_when_one_rank_is_lost_all_end_and_the_run_goes_on",
        f"{RANKS}::test_ctrl_c_saves_and_ends_all",
        f"{RANKS}::test_a_leader_may_be_busy_but_not_silent",
    ),
)
