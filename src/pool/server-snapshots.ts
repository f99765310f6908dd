/** The Snapshots of one server: what is known of it for a client, and how more comes to be known. */
import { NOBODY, type PrincipalId } from '../ids.ts';
import type { ServerView } from '../launcher/contract.ts';
import { isObject, own, type RequestMessage } from '../mcp/jsonrpc.ts';
import type { Sitting } from '../mcp/lasting-server.ts';
import type { ModernServer } from '../mcp/modern-server.ts';
import { type Envelope, envelopeOfInitialize, MODERN_REVISION, revisionForInitialize } from '../mcp/revisions.ts';
import type { Snapshot } from '../mcp/snapshot.ts';
import { memberText } from '../mcp/text.ts';
import type { Build } from './build.ts';
import { LearningLegacyServer, LearningServer } from './learning-server.ts';
import { kindOf, type Snapshots } from './snapshots.ts';

export class ServerSnapshots {
	readonly #snapshots: Snapshots;
	readonly #view: () => ServerView;

	/** @param view the server as it is in the catalog now */
	constructor(snapshots: Snapshots, view: () => ServerView) {
		this.#snapshots = snapshots;
		this.#view = view;
	}

	/** What it said to clients of the first era like that one, of that caller. */
	ofLegacy(initialize: RequestMessage, caller: PrincipalId): Snapshot | undefined {
		if (!isWellFormed(initialize)) return undefined;
		const isBare = canNothing(envelopeOfInitialize(initialize));
		return this.#find(legacyKind(initialize, caller), isBare ? legacyKind(initialize, NOBODY) : undefined);
	}

	/** What it said to clients of the second era that say that of themselves, of that caller. */
	ofModern(envelope: Envelope, caller: PrincipalId): Snapshot | undefined {
		return this.#find(modernKind(envelope, caller), canNothing(envelope) ? modernKind(envelope, NOBODY) : undefined);
	}

	/**
	 * The sitting, in which what is heard for the first time is learned.
	 *
	 * @param isPristine whether nobody else has called anything of its Instance
	 */
	listenInLegacy(
		sitting: Sitting,
		{ initialize, caller }: { readonly initialize: RequestMessage; readonly caller: PrincipalId },
		isPristine = (): boolean => true,
	): Sitting {
		const { build, answer } = sitting;
		if (!this.#view().snapshot || !answer.message.ok || !isWellFormed(initialize)) return sitting;
		const kind = legacyKind(initialize, caller);
		const introduction = memberText(answer.text, 'result') ?? '{}';
		// It may come to be known later what it is made of.
		const snapshot = (): Snapshot | undefined =>
			build.spec === undefined || !isPristine() ? undefined : this.#snapshots.learn(build.spec, kind, introduction);
		snapshot();
		const server = new LearningLegacyServer(sitting.server, (page, result) => snapshot()?.learn(page, result));
		return { ...sitting, server };
	}

	/**
	 * The server, from which what is heard for the first time is learned.
	 *
	 * @param of.first of the request that the conversation begins with: what its client was told is looked at again
	 * @param isPristine whether nobody else has called anything of its Instance
	 */
	listenInModern(
		server: ModernServer,
		{ build, first, caller }: { readonly build: Build; readonly first: Envelope; readonly caller: PrincipalId },
		isPristine = (): boolean => true,
	): ModernServer {
		if (!this.#view().snapshot) return server;
		const known = this.ofModern(first, caller);
		const told = known?.pages ?? [];
		const isIntroduced = known !== undefined && known.initialize !== '';
		return new LearningServer(server, { told, first, isIntroduced }, (envelope, page, result) => {
			if (build.spec === undefined || !isPristine()) return;
			const introduction = page === undefined ? result : '';
			const snapshot = this.#snapshots.learn(build.spec, modernKind(envelope, caller), introduction);
			if (page !== undefined) snapshot.learn(page, result);
		});
	}

	/** By the kind of the client, else by its introduction: nobody's words are in that. */
	#find(kind: string, introduction: string | undefined): Snapshot | undefined {
		const { snapshot, preparation, spec } = this.#view();
		if (!snapshot || preparation.kind !== 'ready') return undefined;
		const known = this.#snapshots.find(spec, kind);
		return known === undefined && introduction !== undefined ? this.#snapshots.find(spec, introduction) : known;
	}
}

function legacyKind(initialize: RequestMessage, caller: PrincipalId): string {
	return kindOf(revisionForInitialize(initialize), caller, envelopeOfInitialize(initialize));
}

function modernKind(envelope: Envelope, caller: PrincipalId): string {
	return kindOf(MODERN_REVISION, caller, envelope);
}

/** Whether there is nothing that a client has which a server could go by, but its name. */
function canNothing({ capabilities }: Envelope): boolean {
	return Object.keys(capabilities).length === 0;
}

/** Whether a server would take it. What it would refuse, it refuses itself. */
function isWellFormed({ params = {} }: RequestMessage): boolean {
	const clientInfo = own(params, 'clientInfo');
	return (
		typeof own(params, 'protocolVersion') === 'string' &&
		isObject(own(params, 'capabilities')) &&
		isObject(clientInfo) &&
		typeof own(clientInfo, 'name') === 'string' &&
		typeof own(clientInfo, 'version') === 'string'
	);
}
