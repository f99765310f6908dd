/**
 * How secrets reach a server: as the first bytes of its stdin, which a shell reads before it becomes the server.
 *
 * A create body is on the engine's disk and in `docker inspect`; stdin is in neither. The shell reads lines, and POSIX has
 * `read` take no byte beyond its newline, so what follows is the server's; `dd` and `head` promise less, and some images
 * have neither. For each secret:
 *
 *     NAME LINES [FILE]     the variable; the lines that follow; the file to write, whose path the variable gets then
 *     …                     the value, which may have newlines of its own, and one more
 *
 * and a line with a dot at the end.
 */

import { countLines } from './value.ts';

/** A secret on its way to an Instance. */
export interface Delivered {
	/** The environment variable. */
	readonly variable: string;
	readonly value: Buffer;
	/** The file in the container that has the value, where the variable only says which. */
	readonly file?: string;
}

/** The exit code of a shell that was not given what it should have been: EX_PROTOCOL. */
const UNDELIVERED = 76;

/**
 * Where the bytes end too soon, the next line with a name is not there, and that is a failure. Of what its variables are called
 * none of a server's may be (catalog/secrets.ts). In other locales bash reads characters, and a byte too many for half of one.
 */
const SHIM = `slipway_fail() { echo 'slipway: the secrets did not arrive' >&2; exit ${UNDELIVERED}; }
while :; do
  LC_ALL=C IFS=' ' read -r slipway_name slipway_lines slipway_file || slipway_fail
  [ "$slipway_name" = . ] && break
  LC_ALL=C IFS= read -r slipway_value
  while [ "$slipway_lines" -gt 1 ]; do
    LC_ALL=C IFS= read -r slipway_line
    slipway_value="$slipway_value
$slipway_line"
    slipway_lines=$((slipway_lines - 1))
  done
  if [ -n "$slipway_file" ]; then
    (umask 277 && printf %s "$slipway_value" >"$slipway_file") || slipway_fail
    slipway_value=$slipway_file
  fi
  export "$slipway_name=$slipway_value"
done
exec "$@"`;

/** Where the shell is looked for. */
export const SHELL = '/bin/sh';

/** The entry point that takes delivery and becomes what follows it. The last word is what the shell calls itself. */
export const SHIM_ENTRYPOINT: readonly string[] = Object.freeze([SHELL, '-c', SHIM, 'slipway']);

const NEWLINE = Buffer.from('\n');
const END = Buffer.concat([Buffer.from('.'), NEWLINE]);

/** The bytes that SHIM_ENTRYPOINT reads. */
export function frame(secrets: readonly Delivered[]): Buffer {
	const parts = secrets.flatMap(({ variable, value, file }) => {
		const lines = countLines(value);
		return [Buffer.from(`${variable} ${lines}${file === undefined ? '' : ` ${file}`}\n`), value, NEWLINE];
	});
	return Buffer.concat([...parts, END]);
}
