/**
 * The package's front door: everything a user may import, and nothing else. No work happens in module scope.
 */
export {};
