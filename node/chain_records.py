"""What a running node keeps of a chain: the transactions of its key, and what the log says of all nodes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from incentives.signing import Signer
from node.network import Network
from node.node_log import FollowedView
from node.settings import NodeSettings
from node.transactions import Wishes, open_record

if TYPE_CHECKING:
    from incentives.tx_sender import TxSender


@dataclass(frozen=True, slots=True)
class ChainRecords:
    """Both, open; each with a lock of its own on its file."""

    sender: "TxSender"
    view: FollowedView

    @classmethod
    def open(cls, network: Network, signer: Signer, settings: NodeSettings) -> Self:
        """Open them, and go on with what an earlier life had begun to send.

        Raises: ClientLocked, ClientStoreError, ChainUnavailable.
        """
        view = FollowedView(network, settings.data_dir)
        try:
            return cls(open_record(network, signer, settings), view)
        except BaseException:
            view.close()
            raise

    @property
    def wishes(self) -> Wishes:
        """Names for what is to be sent."""
        return Wishes(self.sender.recorded)

    def close(self) -> None:
        """Release both. Idempotent."""
        self.sender.close()
        self.view.close()
