/** What a deployment is called on its engine, and the folder on the host that its relative paths start from. */
import { hostname } from 'node:os';
import type { Engine } from '../docker/engine.ts';
import { inspectSelf } from '../docker/self.ts';

export interface Identity {
	readonly gateway: string;
	readonly hostDir: string;
}

export interface IdentityOptions {
	/** Found out where they are not given: from the container that this process runs in. */
	readonly gatewayId: string | undefined;
	readonly hostDir: string | undefined;
	/** What holds outside a container. */
	readonly fallbackGatewayId: string;
	readonly fallbackHostDir: string;
}

/** Rejects with SLIPWAY_ENGINE_UNREACHABLE. */
export async function identify(
	engine: Engine,
	{ gatewayId, hostDir, fallbackGatewayId, fallbackHostDir }: IdentityOptions,
): Promise<Identity> {
	const self = gatewayId === undefined || hostDir === undefined ? await inspectSelf(engine) : undefined;
	return {
		gateway: gatewayId ?? self?.compose?.project ?? self?.containerName ?? fallbackGatewayId,
		hostDir: hostDir ?? self?.compose?.folder ?? fallbackHostDir,
	};
}

/** What to call a deployment where nothing else names it: one port of one host has one gateway. */
export function gatewayIdOfPort(port: number): string {
	return `${hostname()
		.toLowerCase()
		.replace(/[^a-z0-9_-]/g, '-')}-${port}`;
}
