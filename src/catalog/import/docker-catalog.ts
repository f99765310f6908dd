/** A server of Docker's MCP catalog: an image, with what it is given. */
import { CATALOG_LIMITS } from '../../limits.ts';
import { explainEgress } from '../egress.ts';
import { imageProgram, placeVolume } from './docker-command.ts';
import { fieldsOf, listOf, proseOf, textOf, textsOf } from './fields.ts';
import { type Launch, remote } from './launch.ts';
import { Refusal } from './refusal.ts';
import { tell } from './tell.ts';

/** What is filled in from the settings of a person. */
const TEMPLATE = /\{\{([^{}]*)\}\}/;

/** @throws Refusal */
export function dockerCatalogLaunch(name: string, server: unknown): Launch {
	const fields = fieldsOf(server);
	if (fields === undefined) throw new Refusal('it is not an object', 'Write an object with "image".');
	const url = fieldsOf(fields['remote'])?.['url'];
	if (typeof url === 'string') throw remote(url);
	const image = textOf(fields, 'image');
	if (image === undefined)
		throw new Refusal(
			'it has no image',
			'Name the image that it is in, or import another server in its place.',
			'image',
		);
	if (textOf(fields, 'type') === 'poci')
		throw new Refusal('its tools are containers of their own, and no server', 'Import a server in its place.', 'type');
	const notes: string[] = [];
	const command = textsOf(fields, 'command');
	const wanting = command.find((word) => TEMPLATE.test(word));
	if (wanting !== undefined)
		throw new Refusal(
			`its command wants a setting (${tell(wanting)}), which is not in the text`,
			'Write the value in its place.',
			'command',
		);
	const program = imageProgram(image, command);
	const env: (readonly [string, string | undefined])[] = [];
	for (const secret of listOf(fields, 'secrets')) {
		const variable = textOf(secret, 'env');
		if (variable !== undefined) env.push([variable, undefined]);
	}
	for (const variable of listOf(fields, 'env')) {
		const value = textOf(variable, 'value') ?? '';
		const key = textOf(variable, 'name') ?? '';
		if (TEMPLATE.test(value))
			notes.push(
				`The variable ${tell(key)} is a setting (${tell(value)}), and is left out: add it to "env" if it needs it.`,
			);
		else env.push([key, value]);
	}
	const volumes = [...program.volumes];
	const mounts = [...program.mounts];
	for (const volume of textsOf(fields, 'volumes')) {
		if (TEMPLATE.test(volume))
			notes.push(`The mount ${tell(volume)} is a setting, and is left out: add it to "mounts" if the server needs it.`);
		else placeVolume(volume, { volumes, mounts, notes });
	}
	const title = proseOf(fields, 'title', CATALOG_LIMITS.titleCharsMax);
	const description = proseOf(fields, 'description', CATALOG_LIMITS.descriptionCharsMax);
	const egress = egressOf(textsOf(fields, 'allowHosts'), notes);
	return {
		name,
		words: [],
		env: {},
		program: { ...program, env, volumes, mounts, offline: fields['disableNetwork'] === true, notes },
		more: {
			...(title === undefined ? {} : { title }),
			...(description === undefined ? {} : { description }),
			...(egress.length === 0 ? {} : { egress }),
		},
	};
}

function egressOf(hosts: readonly string[], notes: string[]): string[] {
	const lines: string[] = [];
	for (const host of hosts) {
		const line = /:\d+$/.test(host) ? host.toLowerCase() : `${host.toLowerCase()}:443`;
		const flaw = explainEgress(line);
		if (flaw !== undefined) notes.push(`It names the host ${tell(host)}, which is left out: ${flaw}.`);
		else if (!lines.includes(line)) lines.push(line);
	}
	if (lines.length > 0) notes.push(`It may reach ${lines.join(', ')} and nothing else ("egress").`);
	return lines.slice(0, CATALOG_LIMITS.egressMax);
}
