// A strict authorization server on 127.0.0.1: refresh tokens rotate, and one used twice ends the whole grant.
// `node server.mjs <seconds an access token lives>`; its first line says the port, /storm/… is for the test.
import Provider from 'oidc-provider';

const life = Number(process.argv[2]);
const seen = { requests: 0, issued: 0, errors: [], revoked: 0, at: [] };
let hold = { ms: 0, before: false };

const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));

function configuration() {
  return {
    clients: [
      {
        client_id: 'storm-client',
        client_secret: 'storm-client-secret-4b1f0a9c',
        redirect_uris: ['http://127.0.0.1:8721/oauth/callback'],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        token_endpoint_auth_method: 'client_secret_basic',
      },
    ],
    scopes: ['openid'],
    ttl: { AccessToken: life, AuthorizationCode: 60, RefreshToken: 86400, Grant: 86400, Session: 86400, Interaction: 60, IdToken: 60 },
    routes: {
      authorization: '/oauth2/authorize/',
      token: '/oauth2/token/',
      revocation: '/oauth2/revoke_token/',
      userinfo: '/me',
    },
    features: { devInteractions: { enabled: false }, revocation: { enabled: true } },
    pkce: { required: () => false },
    rotateRefreshToken: true,
    issueRefreshToken: async () => true,
    expiresWithSession: async () => false,
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    loadExistingGrant: consented,
    cookies: { keys: ['for the few seconds of one run'] },
  };
}

// the person at the browser says yes to everything
async function consented(ctx) {
  const { client, session } = ctx.oidc;
  const grant = new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope('openid');
  await grant.save();
  return grant;
}

async function watched(ctx, next) {
  if (ctx.path === '/storm/seen') {
    ctx.body = seen;
  } else if (ctx.path === '/storm/hold') {
    hold = { ms: Number(ctx.query.ms), before: ctx.query.when === 'before' };
    ctx.body = {};
  } else if (ctx.path.startsWith('/interaction/')) {
    await provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: 'aoba' } });
    ctx.respond = false;
  } else if (ctx.path === '/oauth2/token/') {
    await token(ctx, next);
  } else {
    await next();
  }
}

// a request that is held is held once, either before it counts or with its answer written
async function token(ctx, next) {
  const held = hold;
  hold = { ms: 0, before: false };
  seen.requests += 1;
  seen.at.push(Date.now());
  if (held.before) await pause(held.ms);
  await next();
  if (!held.before) await pause(held.ms);
}

let provider;
const probe = (await import('node:http')).createServer();
await new Promise((ready) => probe.listen(0, '127.0.0.1', ready));
const { port } = probe.address();
await new Promise((closed) => probe.close(closed));

provider = new Provider(`http://127.0.0.1:${port}`, configuration());
provider.use(watched);
provider.on('grant.success', () => { seen.issued += 1; });
provider.on('grant.error', (_ctx, error) => { seen.errors.push(`${error.error}: ${error.error_detail ?? ''}`); });
provider.on('grant.revoked', () => { seen.revoked += 1; });
provider.listen(port, '127.0.0.1', () => console.log(port));
process.stdin.resume().on('end', () => process.exit(0));
