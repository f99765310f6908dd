/** Slipway as a process of its own: what people start, stop and kill. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { Inbox } from './inbox.ts';

const ROOT = new URL('../..', import.meta.url).pathname;

export interface SlipwayProcess {
	readonly child: ChildProcess;
	readonly stdout: Inbox<string>;
	readonly stderr: Inbox<string>;
	/** Both, in the order of their arrival. */
	readonly lines: Inbox<string>;
	/** Resolves with the exit code, or the signal, once it is over and all that it wrote was read. */
	readonly exited: Promise<number | string>;
}

/** Runs `node src/main.ts` with a verb, and with these settings and no others. */
export function startSlipway(args: readonly string[], settings: Readonly<Record<string, string>> = {}): SlipwayProcess {
	const child = spawn(process.execPath, ['src/main.ts', ...args], {
		cwd: ROOT,
		stdio: ['ignore', 'pipe', 'pipe'],
		env: { PATH: process.env['PATH'], ...settings },
	});
	const stdout = new Inbox<string>();
	const stderr = new Inbox<string>();
	const lines = new Inbox<string>();
	for (const [stream, inbox] of [
		[child.stdout, stdout],
		[child.stderr, stderr],
	] as const) {
		createInterface({ input: stream }).on('line', (line) => {
			inbox.push(line);
			lines.push(line);
		});
	}
	const exited = once(child, 'close').then(([code, signal]) => code ?? signal);
	return { child, stdout, stderr, lines, exited };
}

/** Resolves with the process when it has written a line with that text; rejects with all that it wrote when it ends before. */
export async function onceSaid(started: SlipwayProcess, text: string): Promise<SlipwayProcess> {
	const ended = started.exited.then((code) => {
		throw new Error(`it ended with ${code}: ${started.lines.items.join('\n')}`);
	});
	ended.catch(() => undefined);
	await Promise.race([started.lines.first((line) => line.includes(text)), ended]);
	return started;
}

/** Runs a verb to its end. */
export async function runSlipway(
	args: readonly string[],
	settings: Readonly<Record<string, string>> = {},
): Promise<{ code: number | string; stdout: string; stderr: string }> {
	const { exited, stdout, stderr } = startSlipway(args, settings);
	const code = await exited;
	return { code, stdout: stdout.items.join('\n'), stderr: stderr.items.join('\n') };
}

/** A port that nobody listens on now. */
export async function freePort(): Promise<number> {
	const server = createServer().listen(0, '127.0.0.1');
	await once(server, 'listening');
	const address = server.address();
	server.close();
	await once(server, 'close');
	if (address === null || typeof address === 'string') throw new Error('no port');
	return address.port;
}
