"""Routes of the tag Plugin."""

from dockerapi.api.route import Route

ROUTES = (
    Route("GET", "/plugins", "PluginList"),
    Route("GET", "/plugins/privileges", "GetPluginPrivileges"),
    Route("POST", "/plugins/pull", "PluginPull", 204),
    Route("GET", "/plugins/{name:.*}/json", "PluginInspect"),
    Route("DELETE", "/plugins/{name:.*}", "PluginDelete"),
    Route("POST", "/plugins/{name:.*}/enable", "PluginEnable"),
    Route("POST", "/plugins/{name:.*}/disable", "PluginDisable"),
    Route("POST", "/plugins/{name:.*}/upgrade", "PluginUpgrade", 204),
    Route("POST", "/plugins/create", "PluginCreate", 204),
    Route("POST", "/plugins/{name:.*}/push", "PluginPush"),
    Route("POST", "/plugins/{name:.*}/set", "PluginSet", 204),
)
