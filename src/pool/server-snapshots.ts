/** The Snapshots of one server: what is known of it for a client, and how more comes to be known. */
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

	/** What it said to clients of the first era like that one. */
	ofLegacy(initialize: RequestMessage): Snapshot | undefined {
		return isWellFormed(initialize) ? this.#find(this.#legacyKind(initialize)) : undefined;
	}

	/** What it said to clients of the second era that say that of themselves. */
	ofModern(envelope: Envelope): Snapshot | undefined {
		return this.#find(this.#modernKind(envelope));
	}

	/**
	 * The sitting, in which what is heard for the first time is learned.
	 *
	 * @param isPristine whether nobody else has called anything of its Instance
	 */
	listenInLegacy(sitting: Sitting, initialize: RequestMessage, isPristine = (): boolean => true): Sitting {
		const { build, answer } = sitting;
		if (!this.#view().snapshot || !answer.message.ok || !isWellFormed(initialize)) return sitting;
		const kind = this.#legacyKind(initialize);
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
	 * @param first of the request that the conversation begins with: what its client was told is looked at again
	 * @param isPristine whether nobody else has called anything of its Instance
	 */
	listenInModern(server: ModernServer, build: Build, first: Envelope, isPristine = (): boolean => true): ModernServer {
		if (!this.#view().snapshot) return server;
		const known = this.ofModern(first);
		const told = known?.pages ?? [];
		const isIntroduced = known !== undefined && known.initialize !== '';
		return new LearningServer(server, { told, first, isIntroduced }, (envelope, page, result) => {
			if (build.spec === undefined || !isPristine()) return;
			const introduction = page === undefined ? result : '';
			const snapshot = this.#snapshots.learn(build.spec, this.#modernKind(envelope), introduction);
			if (page !== undefined) snapshot.learn(page, result);
		});
	}

	#find(kind: string): Snapshot | undefined {
		const { snapshot, preparation, spec } = this.#view();
		return snapshot && preparation.kind === 'ready' ? this.#snapshots.find(spec, kind) : undefined;
	}

	#legacyKind(initialize: RequestMessage): string {
		return kindOf(revisionForInitialize(initialize), envelopeOfInitialize(initialize), this.#view().isolation);
	}

	#modernKind(envelope: Envelope): string {
		return kindOf(MODERN_REVISION, envelope, this.#view().isolation);
	}
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
