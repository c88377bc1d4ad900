// Says what is wrong with a HTTPRoute on standard input, by the Gateway API's own schema.
import { readFileSync } from "node:fs";
import { HTTPRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute";

new HTTPRoute(JSON.parse(readFileSync(0, "utf8"))).validate();
