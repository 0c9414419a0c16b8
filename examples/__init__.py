"""Programs that use Duet. No part of Duet imports them."""
