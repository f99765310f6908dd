/** `slipway logs`: what servers write on stderr. */
import { type LineTold, linesTold, lineTold } from '../http/told.ts';
import { SERVER_NAME_PATTERN } from '../ids.ts';
import { HTTP_LIMITS, LAUNCHER_LIMITS } from '../limits.ts';
import { withoutControls } from './failure.ts';
import { GATEWAY_HELP, GATEWAY_OPTIONS, withGateway } from './gateway.ts';
import { type Paint, paintOf } from './terminal.ts';
import { defineVerb } from './verb.ts';

const HELP = `slipway logs [server] [options]

What servers write on stderr, of one or of all: when, which server, the beginning of the container's id, the line. Values of
secrets are taken out. Of a container that is over the last lines are known, and not when they came.

  -f, --follow         the lines that come, too, until you end it
  --tail <n>           so many of the lines that are known, the last ones (${HTTP_LIMITS.logTailLinesMax}; at most ${LAUNCHER_LIMITS.stderrTailLinesMax})
${GATEWAY_HELP}
  --json               for programs: one JSON object a line`;

const OPTIONS = {
	...GATEWAY_OPTIONS,
	follow: { type: 'boolean', short: 'f' },
	tail: { type: 'string' },
} as const;

const ID_CHARS_SHOWN = 8;

export const logs = defineVerb({
	help: HELP,
	options: OPTIONS,
	run: async ({ values, positionals }, invocation) => {
		const [server, ...rest] = positionals;
		const { follow = false, json = false, tail = String(HTTP_LIMITS.logTailLinesMax) } = values;
		const isNamed = server === undefined || SERVER_NAME_PATTERN.test(server);
		if (rest.length > 0 || !isNamed || !/^\d{1,4}$/.test(tail)) return 'misused';
		const { print, out, environment, stopping } = invocation;
		const paint = paintOf(out, environment);
		const show = (line: LineTold): void => print(json ? JSON.stringify(line) : describe(line, paint));
		const path = `${server === undefined ? '/api/logs' : `/api/servers/${server}/logs`}?tail=${tail}`;
		return withGateway(invocation, values, {
			scopes: ['admin'],
			use: async (gateway) => {
				if (!follow) {
					for (const line of (await gateway.ask(path, linesTold)).lines) show(line);
					return 0;
				}
				try {
					await gateway.follow(`${path}&follow=true`, lineTold, show);
				} catch (error) {
					if (!stopping.aborted) throw error;
				}
				return 0;
			},
		});
	},
});

function describe({ at, server, instance, text }: LineTold, paint: Paint): string {
	const head = paint('dim', `${at} ${server} ${instance.slice(0, ID_CHARS_SHOWN)} |`);
	return `${head} ${withoutControls(text)}`;
}
