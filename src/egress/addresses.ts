/** From a name to addresses that may be connected to. What is checked here is what is connected to: nobody asks again. */
import { Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { purposeOf } from '../addresses.ts';
import { EGRESS_LIMITS } from '../limits.ts';

/** All addresses of a name. Empty when it has none; rejects when nobody can say. */
export type Resolve = (name: string, signal: AbortSignal) => Promise<readonly string[]>;

export type Found =
	| { readonly kind: 'public'; readonly addresses: readonly string[] }
	| { readonly kind: 'refused'; readonly why: string }
	| { readonly kind: 'failed'; readonly why: string; readonly late: boolean };

/**
 * The addresses of a host, all of them public. One that is not is enough to refuse the name: whoever answers so wants
 * to be let in by the other.
 */
export async function findAddresses(host: string, resolve: Resolve, signal: AbortSignal): Promise<Found> {
	const addresses = isIP(host) === 0 ? await lookUp(host, resolve, signal) : [host];
	if (!Array.isArray(addresses)) return addresses;
	if (addresses.length === 0) return { kind: 'failed', why: 'it has no address', late: false };
	if (addresses.length > EGRESS_LIMITS.addressesMax) return { kind: 'refused', why: 'it has too many addresses' };
	for (const address of addresses) {
		const purpose = purposeOf(address);
		if (purpose !== undefined)
			return { kind: 'refused', why: `it leads to an address that is not public (${purpose})` };
	}
	// Most containers have no way out for IPv6.
	return { kind: 'public', addresses: addresses.toSorted((a, b) => isIP(a) - isIP(b)) };
}

async function lookUp(name: string, resolve: Resolve, signal: AbortSignal): Promise<string[] | Found> {
	const timeout = AbortSignal.timeout(EGRESS_LIMITS.resolveTimeoutMs);
	const either = AbortSignal.any([signal, timeout]);
	const cut = Promise.withResolvers<never>();
	const abort = (): void => cut.reject(either.reason);
	either.addEventListener('abort', abort, { once: true });
	if (either.aborted) abort();
	try {
		return [...(await Promise.race([resolve(name, either), cut.promise]))];
	} catch {
		return {
			kind: 'failed',
			why: timeout.aborted ? 'its name was not resolved in time' : 'its name cannot be resolved',
			late: timeout.aborted,
		};
	} finally {
		either.removeEventListener('abort', abort);
	}
}

/** There is no such name, or it has no address of that kind. */
const NONE: ReadonlySet<unknown> = new Set(['ENOTFOUND', 'ENODATA']);

/** By DNS alone: no hosts file, no search domains. */
export const resolveByDns: Resolve = async (name, signal) => {
	const resolver = new Resolver({ timeout: EGRESS_LIMITS.resolveTryTimeoutMs, tries: EGRESS_LIMITS.resolveTriesMax });
	const cancel = (): void => resolver.cancel();
	signal.addEventListener('abort', cancel, { once: true });
	try {
		const answers = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
		const addresses = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
		const failure = answers.find((answer) => answer.status === 'rejected' && !NONE.has(answer.reason?.code));
		// With one kind of address, that the other is not known does not matter: it is not connected to.
		if (addresses.length === 0 && failure?.status === 'rejected') throw failure.reason;
		return addresses;
	} finally {
		signal.removeEventListener('abort', cancel);
	}
};
