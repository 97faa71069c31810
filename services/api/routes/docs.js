// A file, because the page's policy lets no script run that stands in the page itself.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
  // Admin tokens are typed here: nothing is kept in the browser, and nobody else is asked for anything.
  persistAuthorization: false,
  queryConfigEnabled: false,
  validatorUrl: null,
});
