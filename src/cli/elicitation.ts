/** Questions of a server in the middle of a call, put to whoever sits at the terminal. */
import { createInterface } from 'node:readline/promises';
import type { ElicitRequestParams, ElicitResult } from '@modelcontextprotocol/sdk/types.js';
import { argumentsOf } from './call-arguments.ts';
import { withoutControls } from './failure.ts';
import type { Invocation } from './invocation.ts';

/** Declines where nobody can be asked: standard input is no terminal, or it is to be answered in a browser. */
export async function askPerson(
	params: ElicitRequestParams,
	{ input, err }: Pick<Invocation, 'input' | 'err'>,
): Promise<ElicitResult> {
	const stdin = input();
	if (stdin.isTTY !== true || !('requestedSchema' in params)) return { action: 'decline' };
	err.write(`The server asks: ${withoutControls(params.message)} (nothing and Enter: no answer)\n`);
	const { properties } = params.requestedSchema;
	const said: string[] = [];
	const reader = createInterface({ input: stdin, terminal: false });
	const lines = reader[Symbol.asyncIterator]();
	try {
		for (const [key, { title = key }] of Object.entries(properties)) {
			err.write(`${withoutControls(title)}: `);
			const { value = '' } = await lines.next();
			if (value !== '') said.push(`${key}=${value}`);
		}
	} finally {
		reader.close();
	}
	if (said.length === 0) return { action: 'decline' };
	return { action: 'accept', content: argumentsOf(said, { schema: { properties } }) as ElicitResult['content'] };
}
