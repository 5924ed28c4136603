/*
 * Asterisk -- An open source telephony toolkit.
 *
 * Playback acknowledgements for chan_websocket.
 *
 * This program is free software, distributed under the terms of
 * the GNU General Public License Version 2. See the LICENSE file
 * at the top of the source tree.
 */

/*!
 * \file
 * \brief What operators see: the console command "websocket show playback", and
 * CHANNEL(playback)
 */

#include "asterisk.h"

#include "asterisk/cli.h"
#include "asterisk/strings.h"
#include "asterisk/utils.h"

#include "playback_channel.h"
#include "playback_console.h"
#include "playback_test.h"

static char *complete_name(const char *word, int n)
{
	struct playback_channel *playback;
	char *found = NULL;
	int which = 0;

	AST_RWLIST_RDLOCK(&playback_channels);
	AST_RWLIST_TRAVERSE(&playback_channels, playback, entry) {
		if (!strncasecmp(word, playback->name, strlen(word)) && ++which > n) {
			found = ast_strdup(playback->name);
			break;
		}
	}
	AST_RWLIST_UNLOCK(&playback_channels);
	return found;
}

#define ROW_FORMAT "%-40.40s %12s %12s %10s %10s %10s %6s %9s\n"
#define ROW_VALUES "%-40.40s %12" PRIu64 " %12" PRIu64 " %10" PRIu64 " %10" PRIu64 \
	" %10" PRIu64 " %6u %9" PRIu64 "\n"

static char *handle_show_playback(struct ast_cli_entry *entry, int command,
	struct ast_cli_args *a)
{
	struct playback_channel *playback;
	struct playback_snapshot snapshot;
	int count = 0;

	switch (command) {
	case CLI_INIT:
		entry->command = "websocket show playback";
		entry->usage =
			"Usage: websocket show playback [<channel>]\n"
			"       Shows for all WebSocket channels, or for one, how many bytes of\n"
			"       media were received from the application and played, are queued,\n"
			"       were flushed and were dropped, how many marks are pending, and\n"
			"       how often there was nothing to play though more was to come.\n";
		return NULL;
	case CLI_GENERATE:
		return a->pos == entry->args ? complete_name(a->word, a->n) : NULL;
	}
	if (a->argc > entry->args + 1) {
		return CLI_SHOWUSAGE;
	}
	ast_cli(a->fd, ROW_FORMAT, "Channel", "Received", "Played", "Queued", "Flushed",
		"Dropped", "Marks", "Underruns");
	AST_RWLIST_RDLOCK(&playback_channels);
	AST_RWLIST_TRAVERSE(&playback_channels, playback, entry) {
		if (a->argc > entry->args && strcasecmp(a->argv[entry->args], playback->name)) {
			continue;
		}
		snapshot = playback_get_counts(playback);
		ast_cli(a->fd, ROW_VALUES, playback->name, snapshot.received,
			snapshot.played.bytes, snapshot.queued.bytes, snapshot.flushed,
			snapshot.dropped, snapshot.marks, snapshot.underruns);
		count++;
	}
	AST_RWLIST_UNLOCK(&playback_channels);
	if (a->argc > entry->args && !count) {
		ast_cli(a->fd, "No WebSocket channel '%s'\n", a->argv[entry->args]);
		return CLI_FAILURE;
	}
	ast_cli(a->fd, "%d WebSocket channel%s\n", count, ESS(count));
	return CLI_SUCCESS;
}

static struct ast_cli_entry cli[] = {
	AST_CLI_DEFINE(handle_show_playback, "Show the playback of WebSocket channels"),
};

int playback_function_read(struct playback_channel *playback, const char *data,
	char *buffer, size_t size)
{
	struct playback_report_content content;
	char text[PLAYBACK_EVENT_MAX];
	const char *item = "all";

	if (!playback->ledger || strncasecmp(data, "playback", 8)
		|| (data[8] && data[8] != ',')) {
		return -1;
	}
	if (data[8]) {
		item = data + 9;
	}
	content = playback_get_report(playback);
	if (!playback_event_item(text, sizeof(text), item, &content.counts,
		playback->suspension, content.paused, playback_unix_us(playback_now_ns()))) {
		return -1;
	}
	ast_copy_string(buffer, text, size);
	return 0;
}

void playback_console_load(void)
{
	ast_cli_register_multiple(cli, ARRAY_LEN(cli));
	playback_test_register();
}

void playback_console_unload(void)
{
	playback_test_unregister();
	ast_cli_unregister_multiple(cli, ARRAY_LEN(cli));
}
