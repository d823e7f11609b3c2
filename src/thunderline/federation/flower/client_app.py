"""The client: trains the global model on its own shard and sends the result back."""

from collections.abc import Callable

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from thunderline.federation.checkpoint import Examples
from thunderline.federation.flower.messages import ARRAYS, CONFIG, EXAMPLES, METRICS, from_record, to_record
from thunderline.federation.network import Training, train


def make_client_app(examples_of: Callable[[int], Examples]) -> ClientApp:
    """Make the app that every node runs.

    Args:
        examples_of: gives a node its own data, by the ``partition-id`` of its configuration.
    """
    app = ClientApp()

    @app.train()
    def on_train(message: Message, context: Context) -> Message:
        config = message.content.config_records[CONFIG]
        partition = int(str(context.node_config["partition-id"]))
        own = examples_of(partition)
        how = Training(
            epochs=int(str(config["local-epochs"])),
            batch_size=int(str(config["batch-size"])),
            learning_rate=float(str(config["learning-rate"])),
            prox_mu=float(str(config.get("proximal-mu", 0.0))),
        )
        arrays = from_record(message.content.array_records[ARRAYS])
        seed = (int(str(config["seed"])) + partition) % 2**63
        trained, loss = train(arrays, own.x, own.y, how, seed=seed)
        metrics = MetricRecord({EXAMPLES: len(own.y), "train-loss": loss})
        content = RecordDict({ARRAYS: to_record(trained), METRICS: metrics})
        return Message(content, reply_to=message)

    return app
