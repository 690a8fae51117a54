/**
 * The table of endpoints, and finding the one of a request. A path that ends with a slash takes what stands behind it.
 */
import { createError } from '../errors.js';
import { dataRoutes } from './data-routes.js';
import { nodeRoutes } from './node-routes.js';
import { MethodRefusal, type Route } from './status-exchange.js';

export function allRoutes(): readonly Route[] {
  return [...dataRoutes, ...nodeRoutes];
}

function matches(route: Route, path: string): boolean {
  if (route.path === '/kv') return path === '/kv' || path.startsWith('/kv/');
  if (route.path.length > 1 && route.path.endsWith('/')) return path.startsWith(route.path);
  return path === route.path;
}

/** Throws NOT_FOUND, or a MethodRefusal with the methods that would do. */
export function findRoute(routes: readonly Route[], method: string, path: string): Route {
  const candidates = routes.filter((route) => matches(route, path));
  if (candidates.length === 0) throw createError('NOT_FOUND', `there is no ${path} here`);
  const route = candidates.find((candidate) => candidate.method === method);
  if (route !== undefined) return route;
  const known = candidates.map((candidate) => candidate.method);
  throw new MethodRefusal(`${path} takes ${known.join(', ')}, not ${method}`, known);
}
