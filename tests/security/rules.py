"""The rules of security, each with the tests that hold it: what an auditor reads first. `test_rules.py` checks it.

A rule that forbids what tetrio does not have is held by the test of its absence; one that no test can hold says why.
"""

from __future__ import annotations

import attrs

S = "tests/security/"
KEYS = "tests/test_keys.py"
SECRETS = "tests/scenarios/test_secrets.py"
CONTROL = "tests/test_control.py"
METRICS = "tests/test_metrics.py"
COMMANDS = "tests/telegram/test_commands.py"
SIGN = "tests/wire/test_sign.py"
DOCKER = "tests/test_docker_files.py"
SYSTEMD = "tests/test_systemd.py"
LOG = "tests/test_log.py"
RIGHTS = "tests/live/test_rights.py"
TWO = "tests/scenarios/test_two_processes.py"
TOKENS = "tests/telegram/test_secrets.py"


@attrs.frozen
class Rule:
    """One rule."""

    number: str
    """Its section: 1 keys at rest, 2 redaction, 3 what can be reached, 4 Telegram, 5 supply chain, 6 systemd,
    7 containers, 8 what others got wrong."""
    text: str
    tests: tuple[str, ...] = ()
    """FILE::FUNCTION, one at least must fail when the rule is broken."""
    untested: str = ""
    """Why no test can hold it, and what does."""


def _rule(number: str, text: str, *tests: str, untested: str = "") -> Rule:
    return Rule(number, text, tests, untested)


RULES = (
    # --- keys at rest ------------------------------------------------------------------------------------------------
    _rule(
        "1",
        "Ed25519 only; every other kind of key is refused",
        f"{SIGN}::test_a_wrong_key_is_refused_with_its_own_remedy",
        f"{KEYS}::test_bad_private_keys_have_their_exit_code_and_remedy",
    ),
    _rule(
        "1",
        "the key is made on the bot's host; only the public half is shown",
        f"{KEYS}::test_the_command_says_what_to_paste_and_where",
    ),
    _rule("1", "no shared secret", f"{S}test_keys_at_rest.py::test_a_bot_has_no_way_to_use_a_shared_secret"),
    _rule(
        "1",
        "a key that may withdraw or transfer is refused; one without an address list is warned of",
        "tests/test_doctor.py::test_permissions_are_judged",
        f"{RIGHTS}::test_rights_are_read_and_what_is_new_is_passed_over",
        f"{TWO}::test_a_key_that_may_do_more_than_trade_is_refused_before_anything_is_sent",
    ),
    _rule(
        "1",
        "a key file is regular, its owner's, closed to others",
        f"{KEYS}::test_an_api_key_that_others_may_touch_is_refused",
        f"{KEYS}::test_an_api_key_that_is_no_file_is_refused_without_waiting",
        f"{KEYS}::test_a_file_of_another_user_is_refused",
        f"{KEYS}::test_a_list_that_lets_anybody_else_in_is_refused",
        f"{SIGN}::test_a_key_that_others_can_reach_is_unsafe",
        f"{SIGN}::test_a_missing_file_a_directory_and_other_things_are_told_apart",
    ),
    _rule("1", "no link that others could turn leads to it", f"{KEYS}::test_a_link_that_others_could_turn_is_refused"),
    _rule(
        "1",
        "a key in the configuration, where its path belongs, is refused and not shown",
        f"{S}test_keys_at_rest.py::test_a_secret_where_its_path_belongs_is_refused_and_not_shown",
        f"{S}test_keys_at_rest.py::test_a_secret_instead_of_a_file_to_check_is_refused_and_not_shown",
        f"{S}test_keys_at_rest.py::test_what_is_given_to_a_setting_that_is_not_known_is_not_shown",
        f"{S}test_keys_at_rest.py::test_a_path_that_is_long_or_has_a_key_in_its_name_is_a_path",
        f"{S}test_keys_at_rest.py::test_no_setting_is_a_secret",
    ),
    _rule(
        "1",
        "what a start makes has mode 0600, whatever the umask",
        f"{KEYS}::test_the_private_key_is_its_owners_only_whatever_the_umask",
        f"{S}test_keys_at_rest.py::test_what_a_bot_leaves_on_disk_is_its_owners_alone",
        f"{S}test_keys_at_rest.py::test_a_file_that_was_there_keeps_the_mode_that_its_owner_gave_it",
        f"{S}test_keys_at_rest.py::test_a_link_that_somebody_has_put_in_the_way_of_the_status_file_is_not_followed",
        "tests/live/test_latch.py::test_the_files_are_the_owners_alone",
    ),
    _rule(
        "1",
        "systemd's credentials stand in for key files",
        "tests/test_config.py::test_systemd_credentials_stand_in_for_key_files",
        f"{KEYS}::test_a_credential_that_its_list_gives_to_this_user_alone_is_accepted",
    ),
    _rule(
        "1",
        "nothing secret in the environment or the process list",
        f"{SECRETS}::test_a_run_whose_exchange_is_killed",
        f"{S}test_units.py::test_no_secret_reaches_a_unit_but_as_a_credential",
    ),
    _rule(
        "1",
        "no cores",
        f"{SECRETS}::test_a_run_whose_exchange_is_killed",
        f"{S}test_keys_at_rest.py::test_no_command_leaves_a_core",
    ),
    _rule(
        "1",
        "read once; what is kept is the key to sign with (and of the PEM what redaction looks for)",
        f"{S}test_keys_at_rest.py::test_what_was_read_keeps_the_key_to_sign_with_and_no_pem",
        f"{SIGN}::test_no_secret_is_shown",
    ),
    _rule(
        "1",
        "only the logon is signed and carries the API key",
        f"{S}test_keys_at_rest.py::test_the_api_key_and_signatures_are_sent_with_the_logon_and_never_again",
    ),
    _rule(
        "1",
        "SIGHUP reads the keys anew; bad ones change nothing",
        f"{TWO}::test_a_reload_goes_on_with_the_new_key_and_a_bad_one_changes_nothing",
    ),
    _rule(
        "1",
        "a sub-account with no more than the capital at risk",
        untested="the operator's to open; `symbol.max_notional` and the reserves bound what one order may hold",
    ),
    _rule(
        "1",
        "two keys, one to read and one to trade",
        untested="optional, and not offered: one session signs once and holds one key",
    ),
    # --- redaction ---------------------------------------------------------------------------------------------------
    _rule("2", "httpx and httpcore never tell URLs", f"{LOG}::test_chatty_libraries_are_kept_quiet_at_every_level"),
    _rule(
        "2",
        "every line passes one redaction: exact values, their disguises, and what looks like a secret",
        f"{LOG}::test_a_secret_is_known_in_its_usual_disguises",
        f"{LOG}::test_diagnostics_lose_what_looks_like_a_secret",
        f"{LOG}::test_a_private_key_is_known_by_its_body_and_its_bytes",
        "tests/test_journal.py::test_a_secret_in_any_field_reaches_no_sink_and_the_line_stays_json",
    ),
    _rule("2", "a Secret shows itself to nobody", f"{LOG}::test_a_secret_shows_itself_to_nobody"),
    _rule(
        "2",
        "exceptions are told by class, without what they carry",
        f"{TOKENS}::test_no_error_holds_the_token_not_even_in_what_led_to_it",
        f"{SECRETS}::test_an_error_that_nobody_foresaw_shows_no_secret",
    ),
    _rule(
        "2",
        "canaries reach no sink under faults: log, journal, audit, status file",
        f"{SECRETS}::test_a_run_whose_exchange_is_killed",
        f"{SECRETS}::test_a_logon_that_is_refused",
        f"{SECRETS}::test_an_hmac_client_that_is_refused",
        f"{SECRETS}::test_an_exchange_that_echoes_the_logon",
        f"{SECRETS}::test_a_rest_side_that_echoes_every_request",
    ),
    _rule(
        "2",
        "nor any face: Telegram, HTTP, local socket, systemd's STATUS",
        f"{S}test_redaction.py::test_no_face_shows_a_secret",
        f"{TOKENS}::test_no_log_no_fact_and_no_message_holds_the_token_under_any_fault",
        f"{SYSTEMD}::test_the_status_is_one_short_line_without_a_secret",
    ),
    _rule(
        "2",
        "what a person would paste for support is redacted",
        f"{S}test_redaction.py::test_no_command_shows_a_secret_that_a_peer_has_echoed",
        "tests/test_doctor.py::test_no_secret_is_ever_shown",
        f"{KEYS}::test_good_key_files_are_described_without_what_is_in_them",
    ),
    # --- what can be reached -----------------------------------------------------------------------------------------
    _rule(
        "3",
        "off by default: nothing listens unless told",
        f"{S}test_faces.py::test_with_an_exchange_elsewhere_nothing_listens_unless_told",
        f"{S}test_faces.py::test_what_is_told_to_listen_does_so_at_its_place_and_nowhere_else",
    ),
    _rule(
        "3",
        "loopback or a unix socket only; 0.0.0.0 is refused",
        f"{S}test_faces.py::test_no_start_with_metrics_beyond_loopback",
        f"{S}test_faces.py::test_the_sim_listens_on_loopback_for_its_own_exchange_alone",
        f"{METRICS}::test_anything_beyond_loopback_is_refused_with_the_remedy",
        "tests/test_cli.py::test_what_this_version_does_not_do_is_exit_2",
    ),
    _rule(
        "3",
        "Host allow-list against DNS rebinding",
        f"{METRICS}::test_another_host_name_is_not_served",
        f"{METRICS}::test_loopbacks_own_names_are_served",
    ),
    _rule(
        "3",
        "no websocket, whatever the Origin; no CORS; CSP, frame-ancestors, nosniff",
        f"{S}test_faces.py::test_no_page_can_open_a_websocket_to_it",
        f"{METRICS}::test_a_page_of_another_site_cannot_read_it",
    ),
    _rule(
        "3",
        "read-only over HTTP: no mutating route, so no token, cookie or CSRF header",
        f"{METRICS}::test_only_reading_is_possible",
        f"{METRICS}::test_there_is_nothing_else",
    ),
    _rule(
        "3",
        "words are taken on the local socket only, from the same user",
        f"{CONTROL}::test_another_user_is_refused_even_where_the_file_lets_him",
        f"{CONTROL}::test_only_the_owner_reaches_what_is_made",
        f"{CONTROL}::test_a_directory_that_others_may_write_to_is_refused",
        f"{CONTROL}::test_nothing_is_said_to_one_who_poses_as_the_bot",
    ),
    _rule(
        "3",
        "slow, silent or endless clients are bounded and hold up nobody",
        f"{METRICS}::test_slow_guests_are_cut_off_and_hold_up_nobody",
        f"{CONTROL}::test_silent_guests_hold_up_nobody_and_are_cut_off",
        f"{CONTROL}::test_a_guest_that_does_not_read_is_cut_off",
        f"{CONTROL}::test_watchers_leave_room_for_words",
    ),
    # --- Telegram ----------------------------------------------------------------------------------------------------
    _rule("4", "deny by default: an empty list is nobody", f"{COMMANDS}::test_an_empty_list_means_nobody"),
    _rule(
        "4",
        "chat and user are both checked, of messages and of buttons",
        f"{COMMANDS}::test_unless_chat_and_user_are_listed_nothing_is_answered_and_it_is_counted",
        f"{COMMANDS}::test_only_who_asked_may_confirm",
        f"{S}test_telegram.py::test_a_press_that_comes_from_nowhere_listed_is_counted_and_nothing_else",
    ),
    _rule(
        "4",
        "edited, forwarded and channel posts are ignored",
        f"{COMMANDS}::test_edited_messages_and_channels_posts_are_ignored",
        f"{COMMANDS}::test_what_nobody_has_freshly_written_himself_is_ignored",
    ),
    _rule(
        "4",
        "commands expire after 60 s, and work once",
        f"{COMMANDS}::test_old_commands_and_those_from_the_future_are_ignored",
        f"{COMMANDS}::test_what_waited_before_the_start_is_skipped_and_counted",
        f"{COMMANDS}::test_updates_that_come_twice_or_out_of_order_are_obeyed_once_in_order",
        f"{S}test_telegram.py::test_a_word_that_is_said_twice_means_the_same_as_once",
    ),
    _rule("4", "commands are rate-limited", f"{COMMANDS}::test_a_user_in_haste_is_slowed_down_and_told_once"),
    _rule(
        "4",
        "what trades, lifts a halt or takes a protection away is confirmed by a nonce",
        f"{COMMANDS}::test_what_trades_or_cannot_be_taken_back_asks_with_amount_and_price",
        f"{COMMANDS}::test_resume_asks_after_a_halt_and_not_after_a_pause",
        f"{COMMANDS}::test_a_hard_stop_is_disarmed_only_with_force_and_a_confirmation",
        f"{COMMANDS}::test_no_means_no_and_a_button_works_once",
        f"{COMMANDS}::test_a_confirmation_expires_after_a_minute",
        f"{COMMANDS}::test_a_button_from_another_chat_or_made_up_does_nothing",
    ),
    _rule(
        "4",
        "no command sizes, sets or opens anything: the operator's seven words are all",
        f"{S}test_telegram.py::test_no_command_sets_sizes_or_risks_anything_beyond_the_operators_words",
        f"{COMMANDS}::test_what_is_no_command_is_answered_and_not_obeyed",
    ),
    _rule(
        "4",
        "balances are not told in groups",
        f"{COMMANDS}::test_in_a_group_balances_are_not_shown",
        f"{S}test_telegram.py::test_a_group_is_told_no_balance_whatever_happens_and_whatever_is_asked",
    ),
    _rule(
        "4",
        "polling is beside trading: whatever becomes of it, the orders are the same",
        "tests/scenarios/test_beside.py::test_the_orders_are_the_same_whatever_telegram_does",
    ),
    _rule(
        "4",
        "no webhook, ever",
        f"{S}test_telegram.py::test_no_webhook_is_ever_set_and_nothing_is_called_but_what_is_needed",
        f"{S}test_telegram.py::test_no_code_of_ours_names_a_way_to_be_called_from_outside",
    ),
    _rule(
        "4",
        "409 Conflict is told as a second instance or a stolen token",
        f"{COMMANDS}::test_a_conflict_is_told_once_as_a_second_instance_and_tried_again_slowly",
    ),
    _rule(
        "4", "the token goes over TLS only", f"{TOKENS}::test_the_token_is_never_sent_in_the_clear_or_to_what_is_no_url"
    ),
    # --- supply chain ------------------------------------------------------------------------------------------------
    _rule(
        "5",
        "each requirement is pinned by version and hash, from no address of ours",
        f"{S}test_supply_chain.py::test_a_lock_is_names_versions_and_hashes_and_nothing_else",
        f"{S}test_supply_chain.py::test_the_tests_run_on_what_the_bot_runs_on",
        f"{S}test_supply_chain.py::test_what_is_installed_is_what_was_locked",
    ),
    _rule(
        "5",
        "whatever installs does so by hashes and from wheels",
        f"{S}test_supply_chain.py::test_whatever_installs_does_so_by_hashes_and_from_wheels",
        f"{DOCKER}::test_dependencies_come_by_their_hashes_and_tetrio_without_any",
    ),
    _rule(
        "5",
        "few dependencies; one more is a decision",
        f"{S}test_supply_chain.py::test_what_is_needed_directly_is_a_short_list",
    ),
    _rule(
        "5",
        ".pth files are on an allow-list, with what may stand in them",
        f"{S}test_supply_chain.py::test_files_that_the_interpreter_runs_at_each_start_are_those_that_are_known",
        f"{S}test_supply_chain.py::test_a_line_that_runs_code_is_not_among_what_is_allowed",
    ),
    _rule(
        "5",
        "importing reaches no network and starts no program; nothing is fetched at run time",
        f"{S}test_supply_chain.py::test_importing_reaches_no_network_and_starts_no_program",
        f"{S}test_supply_chain.py::test_nothing_is_fetched_or_run_while_it_runs_and_no_text_becomes_code",
    ),
    _rule(
        "5",
        "the base image is pinned by digest",
        f"{DOCKER}::test_the_base_is_an_argument_that_can_be_pinned_by_its_digest",
    ),
    _rule(
        "5",
        "updates wait seven days; pip-audit; SBOM and provenance; trusted publishing",
        untested="the business of whoever releases: it needs registries and a CI, and no test may reach for those",
    ),
    # --- systemd -----------------------------------------------------------------------------------------------------
    _rule(
        "6",
        "each line of the hardened unit, in the service and in the alert",
        f"{S}test_units.py::test_a_unit_gives_up_what_it_does_not_need",
        f"{S}test_units.py::test_the_service_is_watched_bounded_and_ended_as_it_should",
        f"{SYSTEMD}::test_the_units_in_ops_are_the_ones_that_are_installed",
    ),
    _rule("6", "systemd-analyze security says 1.5 at most", f"{SYSTEMD}::test_the_exposure_is_at_most_one_and_a_half"),
    _rule(
        "6",
        "what only the operator can mend is not restarted",
        f"{SYSTEMD}::test_what_only_the_operator_can_mend_is_not_restarted",
    ),
    _rule(
        "6",
        "credentials by LoadCredential, never by the environment",
        f"{S}test_units.py::test_no_secret_reaches_a_unit_but_as_a_credential",
        f"{SYSTEMD}::test_every_credential_that_tetrio_knows_is_passed_and_reloaded",
    ),
    _rule(
        "6",
        "python -I; nothing is resolved at start",
        f"{S}test_units.py::test_what_is_started_is_isolated_from_the_environment_and_names_nothing_secret",
    ),
    _rule("6", "it runs so under a real systemd", untested="`make systemd-test` (root), not part of pytest"),
    # --- containers --------------------------------------------------------------------------------------------------
    _rule(
        "7",
        "no root, no shell, exec form",
        f"{DOCKER}::test_the_user_is_a_number_and_not_root",
        f"{DOCKER}::test_the_last_stage_begins_from_nothing_and_runs_no_shell",
        f"{DOCKER}::test_everything_that_is_started_is_in_exec_form",
    ),
    _rule(
        "7",
        "read-only, no capabilities, no new privileges, bounded processes, memory, logs, restarts, no cores",
        f"{DOCKER}::test_both_services_are_bounded",
        f"{DOCKER}::test_the_writable_places_are_a_small_tmpfs_and_the_volume_of_the_state",
    ),
    _rule("7", "no published ports", f"{DOCKER}::test_nothing_is_published_and_nothing_is_privileged"),
    _rule(
        "7",
        "secrets as files, never in ENV or build arguments, and none is sent to the builder",
        f"{DOCKER}::test_no_variable_holds_a_secret",
        f"{DOCKER}::test_secrets_are_files_at_the_places_that_tetrio_is_told",
        f"{DOCKER}::test_the_builder_is_sent_what_it_copies_and_no_keys",
    ),
    _rule(
        "7",
        "live has to be asked for",
        f"{DOCKER}::test_what_runs_by_default_needs_no_key_and_live_has_to_be_asked_for",
    ),
    _rule("7", "it runs so under a real engine", untested="`make docker-test` (root), not part of pytest"),
    # --- what others got wrong ---------------------------------------------------------------------------------------
    _rule(
        "8",
        "no web page that anybody may use",
        f"{S}test_faces.py::test_with_an_exchange_elsewhere_nothing_listens_unless_told",
        f"{METRICS}::test_there_is_nothing_else",
    ),
    _rule(
        "8",
        "no text of a peer's becomes an object or code",
        f"{S}test_supply_chain.py::test_nothing_is_fetched_or_run_while_it_runs_and_no_text_becomes_code",
    ),
    _rule(
        "8",
        "no token in a log, one poll or a thousand",
        f"{TOKENS}::test_no_log_no_fact_and_no_message_holds_the_token_under_any_fault",
    ),
    _rule("8", "no key store of somebody else's", f"{S}test_keys_at_rest.py::test_no_setting_is_a_secret"),
)
