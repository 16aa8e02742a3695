// The paper's MemoryAllocation.
public class MemoryAllocation {
    private int blockSize;
    private int numberOfBlocks;

    public int getBlockSize() { return blockSize; }
    public void setBlockSize(int value) { blockSize = value; }
    public int getNumberOfBlocks() { return numberOfBlocks; }
    public void setNumberOfBlocks(int value) { numberOfBlocks = value; }
}
