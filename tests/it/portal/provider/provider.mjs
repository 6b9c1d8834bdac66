// An OpenID provider, oidc-provider as it is, for the tests of the portal: prints its issuer, and ends with its input.
//
// A client of the tests has the name of the algorithm that signs its access tokens. People approve at once (CIBA), so that
// no browser is needed.

import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const audience = process.env.AUDIENCE;
const algorithms = ['RS256', 'PS256', 'ES256', 'EdDSA'];
const key = (kid, ...kind) => ({ ...generateKeyPairSync(...kind).privateKey.export({ format: 'jwk' }), kid, use: 'sig' });

const server = createServer();
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: algorithms.map((name) => ({
    client_id: name,
    client_secret: 'secret',
    grant_types: ['urn:openid:params:grant-type:ciba', 'client_credentials'],
    backchannel_token_delivery_mode: 'poll',
    redirect_uris: [],
    response_types: [],
  })),
  jwks: {
    keys: [
      key('rsa', 'rsa', { modulusLength: 2048 }),
      key('ec', 'ec', { namedCurve: 'P-256' }),
      key('ed', 'ed25519'),
    ],
  },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  extraTokenClaims: (_, token) => ({
    org_id: 'a',
    roles: [token.accountId],
    ...(token.accountId === 'acting' && { act: { sub: 'staff 9' } }),
  }),
  features: {
    clientCredentials: { enabled: true },
    ciba: {
      enabled: true,
      processLoginHint: (_, hint) => hint,
      validateBindingMessage: () => {},
      validateRequestContext: () => {},
      verifyUserCode: () => {},
      async triggerAuthenticationDevice(_, request, account, client) {
        const grant = new provider.Grant({ accountId: account.accountId, clientId: client.clientId });
        grant.addOIDCScope('openid');
        grant.addResourceScope(audience, 'exports');
        await provider.backchannelResult(request, await grant.save());
      },
    },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource, client) => ({
        audience: resource,
        scope: 'exports',
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: client.clientId } },
      }),
      useGrantedResource: () => true,
    },
  },
});

server.on('request', provider.callback());
console.log(issuer);
process.stdin.on('end', () => process.exit()).resume();
